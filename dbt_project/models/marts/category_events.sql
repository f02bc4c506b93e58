with behaviour as (
    select
        customer_id,
        session_id,
        {{ slug('category') }} as category,
        type,
        occurred_at
    from {{ ref('stg_events') }}
    where category is not null
),

-- Of a basket, once what it holds of a category; of categories that are actions.
purchases as (
    select
        transactions.customer_id,
        transactions.basket_id as session_id,
        actions.action as category,
        'purchase' as type,
        min(transactions.occurred_at) as occurred_at
    from {{ ref('stg_transactions') }} as transactions
    inner join {{ ref('stg_products') }} as products on transactions.product_id = products.product_id
    inner join {{ ref('int_actions') }} as actions on products.category_id = actions.action
    group by transactions.customer_id, transactions.basket_id, actions.action
),

final as (
    select * from behaviour
    union all
    select * from purchases
)

select * from final
