"""What came back: replies, bookings, metrics."""
