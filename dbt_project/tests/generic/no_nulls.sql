{# Every given column (default: all of them) is filled in every row. #}
{% test no_nulls(model, columns=none) %}
{%- set checked = columns or (adapter.get_columns_in_relation(model) | map(attribute='name') | list) %}
select *
from {{ model }}
where
    false
    {%- for column in checked %}
    or {{ column }} is null
    {%- endfor %}
{% endtest %}
