//! Turns an app's source into a droplet, in a container.
