"""`QueueManager`: the queue inside your own program."""
