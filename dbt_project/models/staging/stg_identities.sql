with landed as (
    select * from {{ source('landing', 'identities') }}
),

-- Of a row in two deliveries, what was said later; else what was delivered later.
newest as (
    select *
    from landed
    qualify row_number() over (partition by kind, identifier_hmac order by linked_at desc, filename desc) = 1
),

final as (
    select
        kind,
        identifier_hmac,
        customer_id,
        value,
        given_name,
        surname,
        birth_date,
        house_number,
        street,
        city,
        postcode,
        region,
        linked_at,
        source
    from newest
)

select * from final
