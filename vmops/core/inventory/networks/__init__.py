"""Networks: a named VLAN with its addresses, and what its network node does for it."""
