"""The gateway: aiohttp edge, relay, watches, money's store. It carries out what `spillway.routing` decides."""
