with landed as (
    select * from {{ source('landing', 'products') }}
),

renamed as (
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
    from landed
),

final as (
    select *
    from renamed
    qualify row_number() over (partition by product_id order by source) = 1
)

select * from final
