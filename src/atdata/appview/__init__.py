"""The AppView: follows the network, keeps verified copies of what is published there, and answers from them."""
