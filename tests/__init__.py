"""Sandlot's tests, one folder per kind."""
