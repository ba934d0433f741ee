"""What a computing child may reach: files, network, processes, memory. Applied by the child to itself, for good."""
