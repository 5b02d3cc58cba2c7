"""5. Each fax is moved one step at a time: claim, step, record."""
