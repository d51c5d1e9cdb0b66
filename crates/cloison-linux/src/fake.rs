//! A kernel that records what it was asked.
