//! Compares desired with actual state and asks for starts and stops.
