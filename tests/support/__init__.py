"""What tests share: databases, processes, applications, waiting."""
