-- 2.0.0 bounds the value of an outcome. No column changed: rows beyond the bound go to quarantine.
select * from landed
