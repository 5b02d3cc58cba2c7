"""7. People are told: outcome and template become a mail. Values in, values out; no database."""
