{# Nothing is lost on the way from landing: as many rows as keys landed. With `unique_key`: each exactly once. #}
{% test keeps_every_key(model, landed, columns) %}
select *
from
    (select count(*) as kept from {{ model }}) as staged,
    (select count(*) as received from (select distinct {{ columns | join(', ') }} from {{ landed }})) as landing
where kept <> received
{% endtest %}
