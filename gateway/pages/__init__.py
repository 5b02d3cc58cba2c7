"""3. It becomes pages: which parts, each to PDF, cover, one document. Values in, values out; no database."""
