"""What goes over the wire: one type for each request, response and record, from which server, OpenAPI document and client take it."""
