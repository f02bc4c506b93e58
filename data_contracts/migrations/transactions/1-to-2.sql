-- 2.0.0 bounds amounts and quantities. No column changed: rows beyond the bounds go to quarantine.
select * from landed
