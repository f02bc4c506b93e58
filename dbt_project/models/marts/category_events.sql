with behaviour as (
    select
        event_id,
        customer_id,
        session_id,
        {{ slug('category') }} as category,
        type,
        occurred_at
    from {{ ref('stg_events') }}
    where category is not null
),

-- Of a basket, once what it holds of a category that is an action's: recent ones, for these say what comes next.
purchases as (
    select
        transactions.basket_id || '/' || actions.action as event_id,
        transactions.customer_id,
        transactions.basket_id as session_id,
        actions.action as category,
        'purchase' as type,
        min(transactions.occurred_at) as occurred_at
    from {{ ref('stg_transactions') }} as transactions
    inner join {{ ref('stg_products') }} as products on transactions.product_id = products.product_id
    inner join {{ ref('int_actions') }} as actions on products.category_id = actions.action
    inner join {{ ref('int_history') }} as history
        on
            transactions.occurred_at > history.ends_at - interval '91 days'
            and transactions.occurred_at <= history.ends_at
    group by transactions.customer_id, transactions.basket_id, actions.action
),

final as (
    select * from behaviour
    union all
    select * from purchases
)

select * from final
