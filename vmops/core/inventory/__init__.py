"""hosts.toml to an Inventory: models, rules, normal forms, conflicts, complaints, look-up."""
