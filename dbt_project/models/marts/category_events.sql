select
    event_id,
    customer_id,
    session_id,
    {{ slug('category') }} as category,
    type,
    occurred_at
from {{ ref('stg_events') }}
where category is not null
