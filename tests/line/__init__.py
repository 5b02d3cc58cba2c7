"""Real fax calls: HylaFAX with two modems that call one another."""
