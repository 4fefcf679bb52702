"""From a laboratory's report to stored detections and the alerts they raise, in one transaction."""
