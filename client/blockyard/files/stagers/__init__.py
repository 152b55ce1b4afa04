"""The stagers that come with Blockyard, each found by its scheme: `blockyard.plugins` lists them."""
