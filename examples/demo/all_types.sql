-- One table with every usual MySQL type, and rows at the edges of each. Used by shop.sql and by the decoder's fixtures.
-- sql_mode is empty so that zero and impossible dates can be stored, as old applications did.
SET sql_mode = '';
CREATE TABLE all_types (
  id            BIGINT UNSIGNED NOT NULL PRIMARY KEY,
  note          VARCHAR(40) NOT NULL,
  i8            TINYINT,
  u8            TINYINT UNSIGNED,
  i16           SMALLINT,
  u16           SMALLINT UNSIGNED,
  i24           MEDIUMINT,
  u24           MEDIUMINT UNSIGNED,
  i32           INT,
  u32           INT UNSIGNED,
  i64           BIGINT,
  u64           BIGINT UNSIGNED,
  dec_small     DECIMAL(10,2),
  dec_large     DECIMAL(65,30),
  dec_whole     DECIMAL(20,0) UNSIGNED,
  dec_fraction  DECIMAL(9,9),
  f32           FLOAT,
  f64           DOUBLE,
  bit1          BIT(1),
  bit13         BIT(13),
  bit64         BIT(64),
  y             YEAR,
  d             DATE,
  t             TIME,
  t3            TIME(3),
  t6            TIME(6),
  dt            DATETIME,
  dt1           DATETIME(1),
  dt6           DATETIME(6),
  ts            TIMESTAMP NULL,
  ts3           TIMESTAMP(3) NULL,
  ts6           TIMESTAMP(6) NULL,
  c10           CHAR(10) CHARACTER SET utf8mb4,
  c10_latin1    CHAR(10) CHARACTER SET latin1,
  c255          CHAR(255) CHARACTER SET utf8mb4,
  vc50          VARCHAR(50) CHARACTER SET utf8mb4,
  vc300         VARCHAR(300) CHARACTER SET utf8mb4,
  vc_latin1     VARCHAR(50) CHARACTER SET latin1,
  vc_gbk        VARCHAR(20) CHARACTER SET gbk,
  vc_sjis       VARCHAR(20) CHARACTER SET sjis,
  vc_cp1251     VARCHAR(20) CHARACTER SET cp1251,
  vc_utf16      VARCHAR(20) CHARACTER SET utf16,
  vc_ascii      VARCHAR(20) CHARACTER SET ascii,
  text_tiny     TINYTEXT CHARACTER SET utf8mb4,
  text_latin1   TEXT CHARACTER SET latin1,
  text_medium   MEDIUMTEXT CHARACTER SET utf8mb4,
  text_long     LONGTEXT CHARACTER SET utf8mb4,
  bin8          BINARY(8),
  vb20          VARBINARY(20),
  vb300         VARBINARY(300),
  blob_tiny     TINYBLOB,
  blob_plain    BLOB,
  blob_medium   MEDIUMBLOB,
  blob_long     LONGBLOB,
  e             ENUM('new', 'paid', 'it''s off', 'grün'),
  s             SET('a', 'b', 'c''s', 'd', 'e', 'f', 'g', 'h', 'i') CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
  j             JSON,
  pt            POINT,
  geo           GEOMETRY,
  vec           VECTOR(3),
  gen_virtual   INT GENERATED ALWAYS AS (i16 * 2) VIRTUAL,
  gen_stored    VARCHAR(60) GENERATED ALWAYS AS (concat(note, '!')) STORED,
  hidden        INT INVISIBLE
) CHARACTER SET utf8mb4;

INSERT INTO all_types (id, note) VALUES (1, 'all null');
INSERT INTO all_types SET id = 2, note = 'ordinary', i8 = -5, u8 = 200, i16 = -300, u16 = 40000, i24 = -70000, u24 = 10000000, i32 = -100000,
  u32 = 3000000000, i64 = -5000000000, u64 = 10000000000000000000, dec_small = -1234.50, dec_large = 12345678901234567890.123456789012345678901234567891,
  dec_whole = 12345678901234567890, dec_fraction = 0.123456789, f32 = 1.5, f64 = -2.718281828459045, bit1 = b'1', bit13 = b'1010101010101',
  bit64 = 0x0123456789ABCDEF, y = 2026, d = '2026-11-21', t = '13:37:59', t3 = '13:37:59.123', t6 = '-00:00:00.000001',
  dt = '2026-11-21 13:37:59', dt1 = '2026-11-21 13:37:59.9', dt6 = '2026-11-21 13:37:59.123456', ts = '2026-11-21 13:37:59',
  ts3 = '2026-11-21 13:37:59.123', ts6 = '2026-11-21 13:37:59.123456', c10 = 'äöü', c10_latin1 = 'äöü €', c255 = 'c255', vc50 = 'naïve café',
  vc300 = 'kurz', vc_latin1 = 'Grüße für 5 €', vc_gbk = '中文数据', vc_sjis = 'テスト', vc_cp1251 = 'Привет', vc_utf16 = 'Ω😀',
  vc_ascii = 'plain', text_tiny = 'tiny', text_latin1 = 'Ærøskøbing', text_medium = 'medium', text_long = 'long', bin8 = x'0102',
  vb20 = x'00FF00', vb300 = x'00', blob_tiny = x'DEADBEEF', blob_plain = x'00', blob_medium = x'FFFE', blob_long = x'C328', e = 'paid', s = 'a,b,i',
  j = '{"a": 1, "b": [true, false, null], "c": {"d": "x\\u00e9\\n\\"q\\""}, "pi": 3.14159}', pt = ST_GeomFromText('POINT(9.99 53.55)'),
  geo = ST_GeomFromText('POLYGON((0 0, 10 0, 10 10, 0 10, 0 0))', 4326), vec = STRING_TO_VECTOR('[1, -2.5, 0.125]'), hidden = 42;
INSERT INTO all_types SET id = 3, note = 'smallest', i8 = -128, u8 = 0, i16 = -32768, u16 = 0, i24 = -8388608, u24 = 0, i32 = -2147483648, u32 = 0,
  i64 = -9223372036854775808, u64 = 0, dec_small = -99999999.99, dec_large = -99999999999999999999999999999999999.999999999999999999999999999999,
  dec_whole = 0, dec_fraction = -0.999999999, f32 = -3.402823e38, f64 = -1.7976931348623157e308, bit1 = b'0', bit13 = 0, bit64 = 0, y = 1901,
  d = '1000-01-01', t = '-838:59:59', t3 = '-838:59:59.000', t6 = '-838:59:58.999999', dt = '1000-01-01 00:00:00', dt1 = '1000-01-01 00:00:00',
  dt6 = '1000-01-01 00:00:00', ts = '1970-01-01 00:00:01', ts3 = '1970-01-01 00:00:01', ts6 = '1970-01-01 00:00:01', c10 = '', c10_latin1 = '',
  c255 = '', vc50 = '', vc300 = '', vc_latin1 = '', vc_gbk = '', vc_sjis = '', vc_cp1251 = '', vc_utf16 = '', vc_ascii = '', text_tiny = '',
  text_latin1 = '', text_medium = '', text_long = '', bin8 = '', vb20 = '', vb300 = '', blob_tiny = '', blob_plain = '', blob_medium = '',
  blob_long = '', e = 'new', s = '', j = 'null', pt = ST_GeomFromText('POINT(0 0)'), geo = ST_GeomFromText('GEOMETRYCOLLECTION EMPTY'),
  vec = STRING_TO_VECTOR('[0]'), hidden = -2147483648;
INSERT INTO all_types SET id = 18446744073709551615, note = 'largest', i8 = 127, u8 = 255, i16 = 16383, u16 = 65535, i24 = 8388607, u24 = 16777215,
  i32 = 2147483647, u32 = 4294967295, i64 = 9223372036854775807, u64 = 18446744073709551615, dec_small = 99999999.99,
  dec_large = 99999999999999999999999999999999999.999999999999999999999999999999, dec_whole = 99999999999999999999, dec_fraction = 0.999999999,
  f32 = 3.402823e38, f64 = 1.7976931348623157e308, bit1 = b'1', bit13 = 8191, bit64 = 18446744073709551615, y = 2155, d = '9999-12-31',
  t = '838:59:59', t3 = '838:59:59.000', t6 = '838:59:58.999999', dt = '9999-12-31 23:59:59', dt1 = '9999-12-31 23:59:59.9',
  dt6 = '9999-12-31 23:59:59.999999', ts = '2038-01-19 03:14:07', ts3 = '2038-01-19 03:14:07.999', ts6 = '2038-01-19 03:14:07.999999',
  c10 = repeat('😀', 10), c10_latin1 = repeat('ÿ', 10), c255 = repeat('ж', 255), vc50 = repeat('😀', 50), vc300 = repeat('界', 300),
  vc_latin1 = repeat('ÿ', 50), vc_gbk = repeat('中', 20), vc_sjis = repeat('ｱ', 20), vc_cp1251 = repeat('я', 20), vc_utf16 = repeat('😀', 20),
  vc_ascii = repeat('~', 20), text_tiny = repeat('t', 255), text_latin1 = repeat('é', 1000), text_medium = repeat('é', 2000),
  text_long = repeat('é', 3000), bin8 = x'FFFFFFFFFFFFFFFF', vb20 = repeat(x'FF', 20), vb300 = repeat(x'00', 300), blob_tiny = repeat(x'FF', 255),
  blob_plain = repeat(x'0A', 1000), blob_medium = repeat(x'5C', 1000), blob_long = repeat(x'09', 1000), e = 'grün', s = 'a,b,d,e,f,g,h,i',
  j = json_object('deep', json_array(json_array(json_array(1)))), pt = ST_GeomFromText('POINT(-179.999999 89.999999)'),
  geo = ST_GeomFromText('MULTIPOINT((1 1), (2 2))'), vec = STRING_TO_VECTOR('[3.4e38, -3.4e38, 2e-38]'), hidden = 2147483647;
INSERT INTO all_types SET id = 5, note = 'zero dates', y = 0, d = '0000-00-00', t = '00:00:00', t3 = 0, t6 = 0, dt = '0000-00-00 00:00:00',
  dt1 = '0000-00-00 00:00:00', dt6 = '0000-00-00 00:00:00', ts = '0000-00-00 00:00:00', ts3 = '0000-00-00 00:00:00', ts6 = '0000-00-00 00:00:00',
  f32 = -0.0, f64 = -0e0, dec_small = 0, dec_large = 0, dec_fraction = 0;
INSERT INTO all_types SET id = 6, note = 'impossible dates', d = '2026-00-10', dt = '2026-11-00 10:11:12', dt6 = '2026-00-00 10:11:12.500000';
INSERT INTO all_types SET id = 7, note = 'control characters', c10 = 'a\tb\nc\\d', vc50 = 'quote '' and " and \\ and \r\n end', text_long = 'nul \0 inside',
  vc_ascii = '\t', blob_plain = x'000A0D09275C22', s = 'c''s', e = 'it''s off', c255 = 'trailing blanks go   ', vc300 = 'trailing blanks stay   ',
  j = '["\\u0000", "\\ud83d\\ude00", "\\\\"]';
INSERT INTO all_types SET id = 8, note = 'json scalars', j = json_object('int', -1, 'u64', 18446744073709551615, 'i64', -9223372036854775808,
  'double', 1e100, 'small', 1e-7, 'whole', 3.0e0, 'decimal', 12345678901234567890.123456789, 'true', true, 'false', false, 'null', null,
  'date', cast('2026-11-21' AS DATE), 'time', cast('-10:11:12.000013' AS TIME(6)), 'datetime', cast('2026-11-21 10:11:12.000013' AS DATETIME(6)),
  'blob', cast(x'00FF' AS BINARY), 'empty', json_array(), 'nothing', json_object(), 'text', repeat('é', 200), 'point', ST_GeomFromText('POINT(1 2)'));
INSERT INTO all_types SET id = 9, note = 'large json', j = json_object('long', repeat('x', 70000), 'after', json_array(1, 70000, 'é'));
INSERT INTO all_types SET id = 10, note = 'large array', j = (SELECT json_arrayagg(n) FROM (WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 300) SELECT n FROM c) x);
INSERT INTO all_types SET id = 11, note = 'json string', j = '"just a string"';
INSERT INTO all_types SET id = 12, note = 'json number', j = '-12.5';
INSERT INTO all_types SET id = 13, note = 'to be updated', i32 = 1, vc50 = 'before', j = '{"n": 1, "keep": "this"}', blob_plain = x'01', dt6 = '2026-01-01 00:00:00';
INSERT INTO all_types SET id = 14, note = 'to be deleted', i32 = 2, vc50 = 'gone';
UPDATE all_types SET i32 = 2, vc50 = NULL, j = json_set(j, '$.n', 2, '$.added', 'é'), blob_plain = x'0203', dt6 = '2026-12-31 23:59:59.999999', hidden = 1 WHERE id = 13;
UPDATE all_types SET i8 = 0, f64 = 0.1, d = '2027-01-01', e = NULL, s = 'i' WHERE id = 2;
UPDATE all_types SET id = 15, note = 'key changed' WHERE id = 12;
DELETE FROM all_types WHERE id = 14;
