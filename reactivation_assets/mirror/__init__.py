"""What the CRM says: companies, services, staff, clients, visits."""
