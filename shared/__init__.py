"""What two or more services need and no service's policy: contracts, consent, bus, runner."""
