"""What Towline is measured against: the same calls, as one writes them with a framework."""
