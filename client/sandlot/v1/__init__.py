"""Generated from `proto/sandlot/v1` by `make stubs`; do not edit."""
