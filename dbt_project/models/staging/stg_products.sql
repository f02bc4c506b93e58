with landed as (
    select * from {{ source('landing', 'products') }}
),

-- Of a row in two deliveries, what was said later; else what was delivered later.
newest as (
    select *
    from landed
    qualify row_number() over (partition by product_id order by filename desc) = 1
),

final as (
    select
        product_id,
        department,
        category,
        product_type,
        brand,
        manufacturer_id,
        package_size,
        {{ slug('department') }} as department_id,
        {{ slug('category') }} as category_id,
        source
    from newest
)

select * from final
