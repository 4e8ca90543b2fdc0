-- The demo's small shop, recorded by scripts/record-demo.sh into binlog/shop.000001.
-- @large: the rows of the large transaction; @orders: the number of small ones. Everything is a function of row numbers, so a new recording has the same rows.
SET NAMES utf8mb4;
SET time_zone = '+00:00';
SET SESSION cte_max_recursion_depth = 100000;
SET timestamp = 1790000000; -- 2026-09-21 14:13:20 UTC: CURRENT_TIMESTAMP does not depend on the day of recording
SET @large = coalesce(@large, 5000);
SET @orders = coalesce(@orders, 200);
CREATE DATABASE shop CHARACTER SET utf8mb4;
USE shop;

CREATE TABLE customers (
  id         INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  email      VARCHAR(120) NOT NULL,
  name       VARCHAR(80) NOT NULL,
  phone      VARCHAR(30),
  tier       ENUM('basic', 'silver', 'gold') NOT NULL DEFAULT 'basic',
  birthday   DATE,
  address    JSON,
  created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
  UNIQUE KEY (email)
);
CREATE TABLE products (
  sku        CHAR(8) CHARACTER SET ascii NOT NULL PRIMARY KEY,
  title      VARCHAR(120) NOT NULL,
  price      DECIMAL(10,2) NOT NULL,
  stock      INT NOT NULL,
  tags       SET('new', 'sale', 'eco', 'import') NOT NULL DEFAULT '',
  picture    VARBINARY(64)
);
CREATE TABLE orders (
  id          BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  customer_id INT UNSIGNED NOT NULL,
  status      ENUM('open', 'paid', 'sent', 'cancelled') NOT NULL DEFAULT 'open',
  total       DECIMAL(12,2) NOT NULL DEFAULT 0,
  comment     TEXT,
  ordered_at  DATETIME(6) NOT NULL,
  paid_at     DATETIME(3)
);
CREATE TABLE order_lines (
  order_id   BIGINT NOT NULL,
  line       SMALLINT UNSIGNED NOT NULL,
  sku        CHAR(8) CHARACTER SET ascii NOT NULL,
  quantity   INT NOT NULL,
  price      DECIMAL(10,2) NOT NULL,
  PRIMARY KEY (order_id, line)
);

-- Customers by hand, for the eye.
INSERT INTO customers (email, name, phone, tier, birthday, address) VALUES
  ('ada@example.com', 'Ada Lovelace', '+44 20 7946 0001', 'gold', '1815-12-10', '{"city": "London", "zip": "W1"}'),
  ('zoe@example.com', 'Zoë Müller-Đặng', '+49 40 1234567', 'silver', '1990-02-28', '{"city": "Köln", "zip": "50667"}'),
  ('taro@example.jp', '山田 太郎', '+81 3 1234 5678', 'basic', '1984-07-01', '{"city": "東京"}'),
  ('smile@example.com', 'Sam 😀 Smile', NULL, 'basic', NULL, NULL),
  ('oleh@example.ua', 'Олег Шевченко', '+380 44 123 4567', 'gold', '1976-08-24', '{"city": "Київ", "floors": [1, 2, 3]}'),
  ('o.brien@example.ie', 'Sinéad O''Brien', '+353 1 234 5678', 'basic', '2001-03-17', '{"city": "Dublin", "note": "ring \\"twice\\""}'),
  ('temp@example.com', 'Temporary Account', '+1 555 0100', 'basic', NULL, NULL);
-- More of them, and the products.
INSERT INTO customers (email, name, phone, tier, birthday)
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 93)
  SELECT concat('customer', i, '@example.net'), concat(elt(1 + i % 5, 'Kim', 'Noor', 'José', 'Anaïs', 'Łukasz'), ' ', upper(left(sha2(i, 256), 6))),
    if(i % 7 = 0, NULL, concat('+1 555 ', lpad(crc32(i) % 10000, 4, '0'))), elt(1 + i % 3, 'basic', 'silver', 'gold'),
    '1960-01-01' + INTERVAL crc32(concat('b', i)) % 15000 DAY FROM n;
INSERT INTO products (sku, title, price, stock, tags, picture)
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60)
  SELECT concat('P', lpad(i, 5, '0')), concat(elt(1 + i % 4, 'Lamp', 'Chair', 'Crème brûlée set', 'Teapot 茶'), ' no. ', i),
    1 + (crc32(concat('p', i)) % 20000) / 100, 100 + i, i % 16, unhex(sha2(concat('picture', i), 256)) FROM n;

-- Orders over several tables, a transaction each.
DELIMITER //
CREATE PROCEDURE place_orders(first INT, last INT)
BEGIN
  DECLARE o INT DEFAULT first;
  WHILE o <= last DO
    START TRANSACTION;
    INSERT INTO orders (id, customer_id, ordered_at, comment) VALUES
      (o, 1 + crc32(o) % 100, '2026-09-01 08:00:00' + INTERVAL o * 937 SECOND + INTERVAL crc32(concat('us', o)) % 1000000 MICROSECOND,
       if(o % 9 = 0, concat('Bitte läuten, order ', o), NULL));
    INSERT INTO order_lines
      WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1 + o % 4)
      SELECT o, i, sku, 1 + (o + i) % 3, price FROM n JOIN products ON sku = concat('P', lpad(1 + crc32(concat(o, '-', i)) % 60, 5, '0'));
    UPDATE products JOIN order_lines USING (sku) SET stock = stock - quantity WHERE order_id = o;
    UPDATE orders SET total = (SELECT sum(quantity * price) FROM order_lines WHERE order_id = o) WHERE id = o;
    IF o % 3 = 0 THEN UPDATE orders SET status = 'paid', paid_at = ordered_at + INTERVAL 2 HOUR WHERE id = o; END IF;
    COMMIT;
    SET o = o + 1;
  END WHILE;
END //
DELIMITER ;
CALL place_orders(1, @orders);

-- Changes by hand.
UPDATE customers SET email = 'ada.lovelace@example.com', tier = 'gold' WHERE id = 1;
UPDATE customers SET phone = NULL WHERE id = 2;
UPDATE customers SET address = json_set(address, '$.zip', '100-0001') WHERE id = 3;
UPDATE customers SET id = 5000 WHERE id = 6;
DELETE FROM customers WHERE id = 7;

START TRANSACTION; -- rolled back: nothing of it may arrive anywhere
INSERT INTO customers (id, email, name) VALUES (666, 'never@example.com', 'Never Seen');
DELETE FROM orders;
UPDATE products SET price = 0;
ROLLBACK;

START TRANSACTION; -- rolled back in part
UPDATE orders SET status = 'sent' WHERE id = 3;
SAVEPOINT here;
UPDATE orders SET status = 'cancelled';
ROLLBACK TO SAVEPOINT here;
UPDATE orders SET status = 'sent' WHERE id = 6;
COMMIT;

START TRANSACTION; -- the same rows several times
INSERT INTO products VALUES ('P90001', 'Short-lived', 1, 1, '', NULL);
UPDATE products SET price = 2 WHERE sku = 'P90001';
UPDATE products SET sku = 'P90002', price = 3 WHERE sku = 'P90001';
INSERT INTO products VALUES ('P90001', 'Here to stay', 4.56, 7, 'new,eco', x'00FF');
DELETE FROM products WHERE sku = 'P90002';
COMMIT;

START TRANSACTION; -- two unique values change places
UPDATE customers SET email = 'swap@example.com' WHERE id = 4;
UPDATE customers SET email = 'smile@example.com' WHERE id = 5;
UPDATE customers SET email = 'oleh@example.ua' WHERE id = 4;
COMMIT;

START TRANSACTION; -- the large one
INSERT INTO orders (id, customer_id, status, ordered_at) VALUES (100000, 1, 'open', '2026-10-01 00:00:00.000001');
INSERT INTO order_lines
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < @large)
  SELECT 100000, i, concat('P', lpad(1 + i % 60, 5, '0')), 1 + i % 5, (crc32(i) % 10000) / 100 FROM n;
UPDATE orders SET total = (SELECT sum(quantity * price) FROM order_lines WHERE order_id = 100000) WHERE id = 100000;
COMMIT;
UPDATE order_lines SET quantity = quantity + 1 WHERE order_id = 100000 AND line % 50 = 0;
DELETE FROM order_lines WHERE order_id = 100000 AND line % 10 = 9;
DELETE orders, order_lines FROM orders JOIN order_lines ON order_id = id WHERE id BETWEEN 40 AND 49;
