with landed as (
    select * from {{ source('landing', 'identities') }}
),

renamed as (
    select
        kind,
        identifier_hmac,
        customer_id,
        value,
        linked_at,
        source
    from landed
),

final as (
    select *
    from renamed
    qualify row_number() over (partition by kind, identifier_hmac order by linked_at desc) = 1
)

select * from final
