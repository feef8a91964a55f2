"""What a network node does for networks: namespaces, firewall, DHCP and DNS, and their steps."""
