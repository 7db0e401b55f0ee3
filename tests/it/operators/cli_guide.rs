//! The commands of the guide work as they are written.
