"""The revisions of the OLTP database, oldest first in `versions`, and what runs them."""
