"""Web page that removes cloud from images which a user uploads."""
