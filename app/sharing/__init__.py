"""What a reader may have: which rows (`rows`), and which counts are masked (`masking`). One policy for every door.

Lists, details, search, exports, charts, feeds and alerts ask here; nothing else decides who sees a report, detection or case.
"""
