"""The replicated tables: reads and watches here, writes as transactions through consensus."""
