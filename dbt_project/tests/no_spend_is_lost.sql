-- What transactions sum to, customer-days sum to: exactly, for money is decimal until the marts.
select
    transactions.spend,
    days.spend as found
from
    (select sum(sales_value) as spend from {{ ref('stg_transactions') }}) as transactions,
    (select sum(spend) as spend from {{ ref('int_customer_days') }}) as days
where transactions.spend <> days.spend
