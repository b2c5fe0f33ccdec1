"""The pages of the service under `/ui/`: sessions, and one view for each page, which calls what the API calls."""
