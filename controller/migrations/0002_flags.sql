-- A yes or no is a number: the driver for any database carries no other kind for both.

ALTER TABLE users ADD COLUMN is_admin BIGINT NOT NULL DEFAULT 0;
UPDATE users SET is_admin = CASE WHEN admin THEN 1 ELSE 0 END;
ALTER TABLE users DROP COLUMN admin;
ALTER TABLE users RENAME COLUMN is_admin TO admin;
