"""The two databases: what was answered and what came true (OLTP), and what can be asked of all of it (OLAP)."""
