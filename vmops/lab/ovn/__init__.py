"""OVN in a lab, where it was asked for."""
