select
    customers.customer_id,
    as_of.as_of,
    as_of.as_of_day
from {{ ref('stg_customers') }} as customers
cross join {{ ref('int_as_of') }} as as_of
