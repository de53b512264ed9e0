-- Run at every start of the test MySQL, natively (--init-file) and in Docker
-- (docker-entrypoint-initdb.d): every statement can be repeated.
CREATE DATABASE IF NOT EXISTS firstcome CHARACTER SET utf8mb4;
CREATE DATABASE IF NOT EXISTS firstcome_rewards CHARACTER SET utf8mb4;
CREATE USER IF NOT EXISTS 'root'@'127.0.0.1' IDENTIFIED BY '';
GRANT ALL PRIVILEGES ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION;
