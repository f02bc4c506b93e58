with actions as (
    select listed.action
    from (
        values
        {%- for action in var('actions') %}
        ('{{ action }}'){{ ',' if not loop.last }}
        {%- endfor %}
    ) as listed (action)
),

categories as (
    select
        category_id,
        category,
        department_id,
        count(*) as products
    from {{ ref('stg_products') }}
    where category_id is not null
    group by category_id, category, department_id
),

-- A category name appears in several departments: it belongs to the one with most of its products.
home_departments as (
    select
        category_id,
        category,
        department_id
    from categories
    qualify row_number() over (partition by category_id order by products desc, department_id asc, category asc) = 1
),

final as (
    select
        actions.action,
        coalesce(home_departments.category, actions.action) as category,
        coalesce(home_departments.department_id, 'none') as department_id
    from actions
    left join home_departments on actions.action = home_departments.category_id
)

select * from final
