-- Subscriptions are delivered to channels of the WebSocket gateway, too. Such a subscription has no address and no key.
ALTER TABLE subscriptions ADD COLUMN delivery TEXT NOT NULL DEFAULT 'webhook'; -- or channel
ALTER TABLE subscriptions ADD COLUMN listened_at INTEGER;                       -- milliseconds since 1970: when a listener came or went last
