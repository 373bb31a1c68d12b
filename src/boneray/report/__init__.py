"""Floor 9: one self-contained HTML page with pictures, tables and the 3D view; write_report is in page.py."""
