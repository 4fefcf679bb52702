"""Tests done, totals and supply incidents: what is stated beside single findings, never counted as detections."""
