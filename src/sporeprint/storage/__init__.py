"""The two databases: predictions and outcomes (OLTP), and reports and queries over them (OLAP)."""
