"""What an actor is: its mailbox, its replies, its clock, its threads."""
